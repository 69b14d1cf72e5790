"""What the demo does, scene by scene. It says nothing that it has not checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common import certset

from gausscert_coordinator.cli import demo_claims, demo_files
from gausscert_coordinator.cli.demo_cluster import command_line
from gausscert_coordinator.cli.layout import counted, short
from gausscert_coordinator.exit_codes import MEANING, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gausscert_coordinator.cli.demo_claims import Claims, Disks, Served
    from gausscert_coordinator.cli.demo_cluster import DemoCluster

PASSWORDS: Final = ("--server-password-file", "server.pw", "--client-password-file", "client.pw")
FEWEST_FAULTS: Final = 3
"""What the faulty bundle is meant to show: all findings at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What goes wrong in the second replacement."""

    text: str
    """For the audience."""
    inflict: Callable[[Served], None]
    """Makes one node fail, given what is served now."""
    cure: Callable[[], None]
    ends: ExitCode = ExitCode.ROLLED_BACK


@dataclass(slots=True)
class Story:
    """The scenes, in the order in which `tell` plays them."""

    cluster: DemoCluster
    claims: Claims
    say: Callable[[str], None]
    failure: Failure
    seen: list[tuple[str, Served]]
    """Gets what was served at each moment, for the closing table."""

    def tell(self) -> None:
        """Play all of it."""
        self._before()
        self._replacement()
        self._failed_replacement()
        self._faulty_bundle()
        self._closing()

    def _before(self) -> None:
        count = len(self.cluster.nodes)
        nodes = counted(count, "node")
        self.say(f"1. {nodes} of a simulated CM, each with a real gausscert-agent, as they are now")
        self._run(ExitCode.DONE, "status")
        served = self._look("at first")
        self.claims.check(
            f"all {count} simulated cm_servers serve the first certificate",
            len(set(served.values())) == 1 and all(served.values()),
            f"they serve {_all(served)}",
        )

    def _replacement(self) -> None:
        self.say("2. A new bundle, and the replacement")
        self._new_bundle("new-bundle")
        self._run(ExitCode.DONE, "replace", "new-bundle", "--yes", *PASSWORDS)
        self._claim_serves("new-bundle", self._look("replaced"))
        self._claim_holds("new-bundle")
        self._run(ExitCode.DONE, "status")

    def _failed_replacement(self) -> None:
        self.say(f"3. Another replacement, in which {self.failure.text}")
        self._new_bundle("next-bundle")
        disks, served = self._disks(), demo_claims.served(self.cluster.nodes)
        self.failure.inflict(served)
        self._run(self.failure.ends, "replace", "next-bundle", "--yes", *PASSWORDS)
        self.failure.cure()
        self._claim_unchanged("after the failure", disks, served)
        self._run(ExitCode.DONE, "status")

    def _faulty_bundle(self) -> None:
        self.say("4. A bundle with several faults")
        root = self.cluster.root
        demo_files.faulty_bundle(
            root / "faulty-bundle",
            root / "next-bundle",
            self.cluster.server_password,
            self.cluster.client_password,
        )
        disks, served = self._disks(), demo_claims.served(self.cluster.nodes)
        self._run(ExitCode.REFUSED, "replace", "faulty-bundle", "--yes", *PASSWORDS)
        codes = self._codes("faulty-bundle")
        self.claims.check(
            f"refused with all findings at once: {', '.join(codes)}",
            len(codes) >= FEWEST_FAULTS,
            f"fewer than {FEWEST_FAULTS} kinds of findings",
        )
        self._claim_unchanged("after the refusal", disks, served)

    def _closing(self) -> None:
        self.say("5. The proof once more, from the certificates that the running cm_servers serve")
        self._claim_serves("new-bundle", self._look("at the end"))
        self._claim_holds("new-bundle")

    def _new_bundle(self, name: str) -> None:
        self._run(ExitCode.DONE, "bundle", "new", name, "--key-type", "ec-p256", *PASSWORDS)

    def _run(self, expected: ExitCode, *arguments: str) -> None:
        self.say(f"\n$ {command_line(arguments)}")
        code = self.cluster.gausscert(*arguments)
        verb = " ".join(arguments[:2] if arguments[0] in ("bundle", "pki") else arguments[:1])
        self.claims.check(
            f"gausscert {verb} ended with exit code {int(expected)}: {MEANING[expected]}",
            code == expected,
            f"it ended with {code}",
        )

    def _look(self, moment: str) -> Served:
        served = demo_claims.served(self.cluster.nodes)
        self.seen.append((moment, served))
        return served

    def _disks(self) -> Disks:
        return demo_claims.disks(self.cluster.nodes)

    def _claim_serves(self, bundle: str, served: Served) -> None:
        wanted = server_fingerprint(self._certificates(bundle))
        self.claims.check(
            f"all {len(served)} simulated cm_servers serve {short(wanted)}, the certificate of {bundle}",
            bool(wanted) and set(served.values()) == {wanted},
            f"they serve {_all(served)}",
        )

    def _claim_holds(self, bundle: str) -> None:
        wrong = [
            name
            for name, disk in self._disks().items()
            if not demo_claims.holds_bundle(disk, self.cluster.root / bundle)
        ]
        self.claims.check(
            f"every node holds all {len(certset.NAMES)} files of {bundle}, mode 0400",
            not wrong,
            ", ".join(wrong),
        )

    def _claim_unchanged(self, when: str, disks: Disks, served: Served) -> None:
        changed = [name for name, disk in self._disks().items() if disk != disks[name]]
        self.claims.check(
            f"{when} every live set is as it was, byte for byte and mode for mode",
            not changed,
            ", ".join(changed),
        )
        now = self._look(when)
        self.claims.check(
            f"{when} every simulated cm_server serves what it served before", now == served, _all(now)
        )

    def _certificates(self, bundle: str) -> list[dict[str, object]]:
        answer = self.cluster.answer("bundle", "verify", bundle, "--output", "json", *PASSWORDS)
        certificates: list[dict[str, object]] = json.loads(answer)["certificates"]
        return certificates

    def _codes(self, bundle: str) -> list[str]:
        answer = json.loads(self.cluster.answer("replace", bundle, "--yes", "--output", "json", *PASSWORDS))
        found = answer["plan"]["findings"]
        return sorted({each["code"] for each in found if each["severity"] == "error"})


def server_fingerprint(certificates: Sequence[dict[str, object]]) -> str:
    """Of the first certificate in server.crt, which is the one cm_server serves."""
    return next((str(each["fingerprint"]) for each in certificates if each["kind"] == "server"), "")


def _all(served: Served) -> str:
    return ", ".join(f"{node} {short(fingerprint)}" for node, fingerprint in served.items())
