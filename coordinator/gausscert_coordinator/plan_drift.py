"""What has changed between a plan on file and the plan that is made of the same bundle now. Pure.

Everything that the operator who approved the plan could have decided by is compared, and every difference is
told. Nodes that do not answer now are no drift: the new plan says so itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gausscert_coordinator import plan_record
from gausscert_coordinator.plan_catalogue import PLAN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.model import CmNode, SslSwitch

    from gausscert_coordinator.plan_record import PlanRecord, RecordedNode
    from gausscert_coordinator.report import Plan, ReplaceOptions

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""A plan may have been made on another machine."""
_SHORT: Final = 12


def drift(kept: PlanRecord, now: Plan, moment: datetime) -> tuple[Finding, ...]:
    """Every difference as a finding PLAN_DRIFTED; () if the plan on file is still what would be done.

    Args:
        kept: The plan on file.
        now: A plan made now, of the bundle and with the options of the one on file.
        moment: The present.
    """
    if kept.cluster != now.cluster:  # whatever else differs comes from it
        return (_found(f"the plan is for cluster {kept.cluster}, the inventory is of {now.cluster}"),)
    return (
        *_age(kept, moment),
        *_bundle(kept, now),
        *_options(kept.options, plan_record.lasting(now.options)),
        *_outage(kept, now),
        *_inventory(kept, now),
        *_nodes(kept, now),
        *_topology(kept, now),
        *_state(kept, now),
        *_warnings(kept, now),
    )


def differing(kept: ReplaceOptions, other: ReplaceOptions) -> dict[str, tuple[str, str]]:
    """Options by their names on the command line: in the plan, and elsewhere; {} where all are equal."""
    pairs = {
        "--enable-ssl": (kept.ssl_wish.value, other.ssl_wish.value),
        "--restart": (kept.restart.value, other.restart.value),
        "--exclude": (_listed(kept.exclude), _listed(other.exclude)),
        "--drop-crls": (_yes(kept.drop_crls), _yes(other.drop_crls)),
        "--accept-state": (_yes(kept.accept_state), _yes(other.accept_state)),
    }
    return {name: (one, two) for name, (one, two) in pairs.items() if one != two}


def _age(kept: PlanRecord, moment: datetime) -> Iterator[Finding]:
    origin = kept.origin
    if moment > origin.valid_until:
        yield _found(f"it was good until {_time(origin.valid_until)}, and was made {_time(origin.made_at)}")
    if origin.made_at - moment > CLOCKS_DIFFER:
        yield _found(f"it was made {_time(origin.made_at)}, which by this machine's clock is yet to come")


def _bundle(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    if kept.bundle_digest != now.bundle_digest:
        yield _found(_changed("the bundle", kept.bundle_digest, now.bundle_digest))


def _options(kept: ReplaceOptions, now: ReplaceOptions) -> Iterator[Finding]:
    for name, (before, after) in differing(kept, now).items():
        yield _found(f"{name} was {before}, is {after}")


def _outage(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    """Its longest follows from the inventory's timeouts; with another restart it is another one anyway."""
    same_way = kept.options.restart is now.options.restart
    if kept.outage and same_way and kept.outage != now.outage:
        yield _found(f"what would be down was: {kept.outage}; and is: {now.outage or 'unknown'}")


def _inventory(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    """Its nodes; those that were left out count as nodes of it, too."""
    before = {each.node for each in kept.nodes} | set(kept.options.exclude)
    lost = {error.node for error in (*now.unreachable, *now.excluded)}
    after = {each.node for each in now.nodes} | lost
    for node in sorted(before - after):
        yield _found("the inventory no longer has this node", node)
    for node in sorted(after - before):
        yield _found("the inventory has this node, the plan does not", node)


def _nodes(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    planned = {each.node: each for each in plan_record.record(now, kept.origin).nodes}
    same_bundle = kept.bundle_digest == now.bundle_digest
    for before in kept.nodes:
        after = planned.get(before.node)
        if after is not None:
            for cause in _of_node(before, after, same_bundle=same_bundle):
                yield _found(cause, before.node)


def _of_node(before: RecordedNode, after: RecordedNode, *, same_bundle: bool) -> Iterator[str]:
    if before.old_digest != after.old_digest:
        yield (
            _changed("the live set", before.old_digest, after.old_digest)
            + f" (server certificate {_short(before.old_server)}, {_short(after.old_server)})"
        )
    if same_bundle and before.new_server != after.new_server:
        yield _changed("the server certificate it would get", before.new_server, after.new_server)
    if before.enable_ssl != after.enable_ssl:
        yield f"enable_ssl was {_switch(before.enable_ssl)}, is {_switch(after.enable_ssl)}"
    if before.stopped != after.stopped:
        yield f"CM was {_standing(before)}, is {_standing(after)}"
    if before.cm_node_id != after.cm_node_id:
        yield f"its number in CM was {before.cm_node_id}, is {after.cm_node_id}"


def _topology(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    """What CM lists; nothing is said of it while no node tells."""
    if not now.topology and now.unreachable:
        return
    before, after = set(kept.topology), set(now.topology)
    names = _names(kept, now)
    for cm_node_id in sorted({each.id for each in before ^ after}):
        was = _places(before, cm_node_id)
        is_now = _places(after, cm_node_id)
        where = names.get(cm_node_id, "")
        yield _found(f"CM lists node {cm_node_id} otherwise: {was} before, {is_now} now", where)


def _state(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    word = now.cluster_state.cluster_state if now.cluster_state is not None else ""
    roles = now.cluster_state.server_roles if now.cluster_state is not None else {}
    if not word and now.unreachable:
        return
    if kept.cluster_state != word:
        yield _found(f"the cluster was {kept.cluster_state or 'unknown'}, is {word or 'unknown'}")
    names = _names(kept, now)
    for cm_node_id in sorted(kept.server_roles.keys() | roles.keys()):
        before, after = kept.server_roles.get(cm_node_id, "unknown"), roles.get(cm_node_id, "unknown")
        if before != after:
            cause = f"cm_server {cm_node_id} was {before}, is {after}"
            yield _found(cause, names.get(cm_node_id, ""))


def _warnings(kept: PlanRecord, now: Plan) -> Iterator[Finding]:
    """One that has gone is no reason to ask again."""
    known = {each.what for each in kept.accepted}
    for each in plan_record.accepted(now):
        if each.what not in known:
            yield _found(f"there is a warning that the plan did not have: {each.code}", each.node, each.file)


def _names(kept: PlanRecord, now: Plan) -> dict[int, str]:
    """Of nodes in the inventory, by their number in CM."""
    before = {each.cm_node_id: each.node for each in kept.nodes if each.cm_node_id}
    return before | {each.cm_node_id: each.node for each in now.nodes if each.cm_node_id}


def _places(listed: set[CmNode], cm_node_id: int) -> str:
    """In full where nodes disagree about it."""
    told = sorted(
        f"{each.name}, cm_server {_address(each)}, cm_agent {each.agent_address or 'none'}"
        for each in listed
        if each.id == cm_node_id
    )
    return " or ".join(told) or "not at all"


def _address(node: CmNode) -> str:
    return f"{node.server_address}:{node.server_port}" if node.server_address else "none"


def _found(cause: str, node: str = "", file: str = "") -> Finding:
    return PLAN[plan_record.DRIFTED].finding(cause, file).at_node(node)


def _changed(what: str, before: str, after: str) -> str:
    return f"{what} was {_short(before)}, is {_short(after)}"


def _short(digest: str) -> str:
    return digest[:_SHORT] or "none"


def _standing(node: RecordedNode) -> str:
    return "stopped on purpose" if node.stopped else "not stopped on purpose"


def _switch(switch: SslSwitch) -> str:
    return f"{switch.server.value} (cm_server.conf) and {switch.agent.value} (cm_agent.conf)"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(sorted(names)) or "nobody"


def _yes(flag: bool) -> str:
    return "given" if flag else "not given"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M UTC}"
