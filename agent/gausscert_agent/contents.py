"""What a stage is to hold: the bundle's files, the node's factor files and what is carried over from the live
set; or the files of a generation. No disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.errors import InvalidInput, Reason

from gausscert_agent.stage import OWNER_BITS, Contents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.bundle import Bundle
    from gausscert_common.model import FactorBuild

    from gausscert_agent.set_on_disk import SetOnDisk


def of_bundle(
    bundle: Bundle, factor_files: Mapping[str, bytes], live: SetOnDisk | None, *, drop_crls: bool
) -> Contents:
    """Of a bundle, with the factor files that its passwords have become.

    Raises:
        InvalidInput: BUNDLE_INVALID, ARGUMENT_INVALID.
    """
    kept = _carried_over(live, drop_crls=drop_crls)
    fresh = _pem(bundle) | dict(factor_files)
    modes = dict.fromkeys(fresh, certset.FILE_MODE)
    return Contents({**kept.files, **fresh}, {**kept.modes, **modes})


def factor_files(bundle: Bundle, build: FactorBuild) -> dict[str, bytes]:
    """The bundle's own, or such as we write ourselves of its passwords, in the format of a build of CM.

    Raises:
        InvalidInput: BUNDLE_INVALID; there is neither.
    """
    if bundle.factor_files is not None:
        return bundle.factor_files.as_files()
    from gausscert_common import factors  # an agent holds what it has loaded

    made: dict[str, bytes] = {}
    for mode, password in zip(("server", "client"), passwords(bundle), strict=True):
        made |= zip((f"{mode}.key.cipher", f"{mode}.key.rand"), factors.write(password, build), strict=True)
    return made


def passwords(bundle: Bundle) -> tuple[str, str]:
    """Both of them.

    Raises:
        InvalidInput: BUNDLE_INVALID; one is missing.
    """
    found = []
    for mode, password in (("server", bundle.server_password), ("client", bundle.client_password)):
        if password is None:
            raise InvalidInput(
                Reason.BUNDLE_INVALID,
                f"there is neither a password for {mode}.key nor the factor files",
                file=f"{mode}.key",
                remedy="hand in both key passwords, or all four factor files",
            )
        found.append(password)
    return found[0], found[1]


def of_generation(retired: SetOnDisk, live: SetOnDisk | None, *, drop_crls: bool) -> Contents:
    """What a stage of a generation holds: its own nine files and its own CRLs, in the mode that CM demands
    whatever theirs is now; and of the live directory what is none of a set, as every new set has it.

    The CRLs of the live set are never carried over: one of another CA would make CM refuse every certificate
    of this one.
    """
    names = certset.NAMES if drop_crls else certset.NAMES + certset.CRL_NAMES
    own = {name: retired.files[name] for name in names if name in retired.files}
    kept = _carried_over(live, drop_crls=True)
    return Contents({**kept.files, **own}, {**kept.modes, **dict.fromkeys(own, certset.FILE_MODE)})


def _pem(bundle: Bundle) -> dict[str, bytes]:
    for name, body in bundle.pem.items():
        if name not in certset.BUNDLE_NAMES:
            raise InvalidInput(Reason.ARGUMENT_INVALID, "is no file of a bundle", file=name)
        if len(body) > certset.MAX_FILE_BYTES:
            raise InvalidInput(
                Reason.BUNDLE_INVALID,
                f"is longer than {certset.MAX_FILE_BYTES} bytes",
                file=name,
                remedy="leave out what the cluster does not need",
            )
    return dict(bundle.pem)


def _carried_over(live: SetOnDisk | None, *, drop_crls: bool) -> Contents:
    """Files of the live set that are not among the nine, and CRLs unless they are to be dropped."""
    left_behind = certset.NAMES + (certset.CRL_NAMES if drop_crls else ())
    if live is None:
        return Contents({}, {})
    kept = {name: body for name, body in live.files.items() if name not in left_behind}
    return Contents(kept, {name: live.modes[name] & OWNER_BITS for name in kept})
