"""`gausscert agents deploy`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gausscert_common.errors import InvalidInput

from gausscert_coordinator.cli import agents_revoked, rolling_out
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.places import Place
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import AGENTS
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from gausscert_common.denylist import Denied
    from gausscert_common.findings import Finding

    from gausscert_coordinator.cli.rolling_out import Opened
    from gausscert_coordinator.pki import Signed
    from gausscert_coordinator.rollout.bundle import Software
    from gausscert_coordinator.rollout.credential import Own
    from gausscert_coordinator.rollout.decide import NodePlan
    from gausscert_coordinator.rollout.deploying import Looked
    from gausscert_coordinator.rollout.outcome import NodeOutcome

EXITS = {
    ExitCode.DONE: "every agent is there and healthy; with --service none: everything but what starts it is"
    " there, and so told",
    ExitCode.REFUSED: "refused, and nothing was changed; or a step failed: which and why is told; what was"
    " done stays, and is not done again, but an agent that is not healthy afterwards gets back what it had",
    ExitCode.UNREACHABLE: "a node cannot be reached, or is in the middle of a transaction; the others' agents"
    " are as they were",
    ExitCode.OWN_ERROR: "an error of gausscert's own; run it again",
}


def deploy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of deploy and upgrade."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only look, and show what would be done."),
        click.option(
            "--passphrase-file",
            type=click.Path(path_type=Path, allow_dash=True),
            metavar="FILE",
            help="Passphrase of the CA's key, if it has one; - is standard input. Asked otherwise, and only"
            " if a node needs a credential.",
        ),
        click.option(
            "--pki",
            "pki_directory",
            type=Place(),
            metavar="DIR",
            help="Where `gausscert pki init` made the CA. [default: where the inventory's ca.crt is]",
        ),
        click.option(
            "--service",
            type=click.Choice(["auto", "system", "user", "none"]),
            default="auto",
            show_default=True,
            help="What starts the agent: systemd of the system (as root), of the user, or something of your"
            " own.",
        ),
        click.option(
            "--bundle",
            required=True,
            type=Place(),
            metavar="DIR",
            help="The software, as `make bundle` makes it.",
        ),
        rolling_out.ssh_options,
    ):
        function = option(function)
    return function


@click.command(
    "deploy",
    cls=Verb,
    short_help=AGENTS["deploy"].short_help,
    examples=(
        ("See what would be done:", "gausscert agents deploy --ssh --bundle software --dry-run"),
        ("On all nodes of the inventory:", "gausscert agents deploy --ssh --bundle software"),
        ("On one that was added:", "gausscert agents deploy --ssh --bundle software --node n4"),
        (
            "Where something else than systemd starts it:",
            "gausscert agents deploy --ssh --bundle software --service none",
        ),
    ),
    exits=EXITS,
)
@deploy_options
@pass_invocation
def command(invocation: Invocation, /, **options: Any) -> int:  # noqa: ANN401 - the options of deploy_options
    """Install the agent on every node: software, credential, agent.toml, and the unit that starts it; then
    ask each agent over mTLS whether it is healthy.

    All nodes are looked at first, and nothing is begun while anything speaks against it. Whatever is there
    already is left alone, so it may be run again at any time, and is what upgrades, too. Agents that run are
    restarted one after the other, never in the middle of a transaction. A node gets a new credential only
    where its own is missing, is of another CA, or ends within 90 days. Who is revoked is laid down before an
    agent starts for the first time, and told to one that runs and does not know it; that stands in deny.list
    beside the CA, and its key is not needed for it.
    """
    return run(invocation, "agents deploy", **options)


def run(
    invocation: Invocation,
    verb: str,
    *,
    ssh: bool,
    sudo: bool,
    only: tuple[str, ...],
    settings_file: Path | None,
    bundle: Path,
    service: str,
    pki_directory: Path | None,
    passphrase_file: Path | None,
    dry_run: bool,
) -> int:
    """The verb, under either of its names."""
    del ssh  # the only way so far
    import asyncio

    from gausscert_coordinator.rollout import bundle as software_of
    from gausscert_coordinator.rollout.planning import own_credential

    software = software_of.load(bundle)
    opened = rolling_out.open_rollout(invocation, only, settings_file, sudo=sudo)
    with asyncio.Runner() as runner:
        looked = runner.run(opened.rollout.look())
        now = datetime.now(UTC)
        own = own_credential(opened.inventory, now)
        revoked, unsure = agents_revoked.known(opened.inventory, pki_directory, own)
        plans = _plans(opened, looked, software, service, own, now, revoked)
        if looked.errors or any(plan.refused for plan in plans) or dry_run:
            return _tell(invocation, verb, opened, looked, plans, (), unsure)
        issue = _issuer(invocation, opened, plans, own, pki_directory, passphrase_file)
        invocation.stopped = rolling_out.stopped()
        recording = _recording(runner, opened, verb, plans)
        with recording.half_done() if recording else rolling_out.half_done():
            outcomes = runner.run(opened.rollout.carry_out(plans, software, issue))
        late = _recorded(recording, plans, outcomes) if recording else ()
    _confirm(invocation, opened, plans, outcomes, issue, pki_directory)
    return _tell(invocation, verb, opened, looked, plans, outcomes, (*unsure, *late))


def _plans(
    opened: Opened,
    looked: Looked,
    software: Software,
    service: str,
    own: Own,
    now: datetime,
    revoked: Sequence[Denied],
) -> list[NodePlan]:
    from gausscert_coordinator.rollout.facts import Service
    from gausscert_coordinator.rollout.planning import plans

    wish = Service(service)
    return plans(
        opened.inventory, opened.nodes, looked.facts, software, opened.settings, wish, own, now, revoked
    )


def _issuer(
    invocation: Invocation,
    opened: Opened,
    plans: list[NodePlan],
    own: Own,
    directory: Path | None,
    passphrase_file: Path | None,
) -> Callable[[str], Signed]:
    """Asks for the passphrase only where something is to be issued, and before anything is begun."""
    from gausscert_common.identity import Role

    from gausscert_coordinator import pki
    from gausscert_coordinator.cli import ca_key
    from gausscert_coordinator.rollout import at_once, credential
    from gausscert_coordinator.rollout.decide import Step

    home = _home(opened, directory)
    needed = {plan.node: plan.facts.held for plan in plans if Step.CREDENTIAL in plan.steps}
    passphrase = ca_key.passphrase(invocation, home, passphrase_file) if needed else None
    signed: dict[str, Signed] = {}
    wrong: list[InvalidInput] = []
    for name, held in needed.items():
        made = pki.sign(home, Role.NODE, name, passphrase=passphrase)
        try:
            signed[name] = credential.trust(made, held, own, name)
        except InvalidInput as error:
            wrong.append(error)
    if wrong:
        raise at_once.joined(wrong)
    if signed:
        invocation.stopped = rolling_out.stopped()
        pki.register(home, signed.values())
    return lambda name: signed[name]


def _recording(
    runner: asyncio.Runner, opened: Opened, verb: str, plans: list[NodePlan]
) -> rolling_out.Recording | None:
    """Begun; None where nothing is going to be changed."""
    from gausscert_coordinator.history_rollouts import Change

    if not any(plan.changes for plan in plans):
        return None
    recording = rolling_out.Recording(runner, opened.inventory, verb)
    recording.begin(Change(plan.node, plan.facts.release, plan.wanted.release, "begun") for plan in plans)
    return recording


def _recorded(
    recording: rolling_out.Recording, plans: list[NodePlan], outcomes: Sequence[NodeOutcome]
) -> tuple[Finding, ...]:
    from gausscert_coordinator.history_rollouts import Change

    changes = [
        Change(
            plan.node,
            plan.facts.release,
            plan.wanted.release,
            "put back" if outcome.put_back else outcome.state.value,
            ",".join(outcome.done),
            outcome.failed_at.value if outcome.failed_at is not None else "",
        )
        for plan, outcome in zip(plans, outcomes, strict=True)
    ]
    found = [each for outcome in outcomes for each in outcome.findings]
    return recording.end(changes, found, [each.error for each in outcomes if each.error is not None])


def _confirm(
    invocation: Invocation,
    opened: Opened,
    plans: list[NodePlan],
    outcomes: Sequence[NodeOutcome],
    issue: Callable[[str], Signed],
    directory: Path | None,
) -> None:
    """Note in the register which credentials are on their nodes, those that a roll-out before has put there
    included. What was done is done, whether or not that can be noted."""
    from cryptography import x509

    from gausscert_coordinator import pki_kept
    from gausscert_coordinator.rollout.decide import Step

    there = [plan.facts.held.cert.encode() for plan in plans if plan.wanted.credential_good]
    there += [issue(each.node).cert_pem for each in outcomes if Step.CREDENTIAL in each.done]
    serials = {f"{x509.load_pem_x509_certificate(body).serial_number:x}" for body in there}
    try:
        pki_kept.confirm(_home(opened, directory), serials)
    except InvalidInput as error:
        invocation.render.note(f"warning: the register of what was issued is behind: {error}")


def _home(opened: Opened, directory: Path | None) -> Path:
    return directory or opened.inventory.credentials.ca.parent


def _tell(
    invocation: Invocation,
    verb: str,
    opened: Opened,
    looked: Looked,
    plans: list[NodePlan],
    outcomes: Sequence[NodeOutcome],
    late: tuple[Finding, ...] = (),
) -> int:
    from gausscert_coordinator.cli import rollout_tables

    told = rollout_tables.Told(opened.inventory.cluster, looked, tuple(plans), tuple(outcomes), late)
    render = invocation.render
    render.result(verb, rollout_tables.document(told), lambda: rollout_tables.text(told, render.width))
    return rollout_tables.code(told)
