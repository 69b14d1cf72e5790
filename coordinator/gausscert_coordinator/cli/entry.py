"""`gausscert` begins here: with its own libraries, whatever the operator's profile says."""

from __future__ import annotations

from gausscert_common import import_path


def main() -> None:
    """The entry point; never comes back."""
    import_path.keep_own()
    from gausscert_coordinator.cli import main as outermost

    outermost.main()


if __name__ == "__main__":
    main()
