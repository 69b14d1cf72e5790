"""Where the program begins on a node: one request in, one answer out."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from gausscert_coordinator.rollout.on_node import (
    configuration,
    files,
    look,
    others,
    processes,
    ready,
    removal,
    software,
)
from gausscert_coordinator.rollout.on_node.layout import (
    Account,
    Layout,
    acting_as,
    agent_user,
    become,
    layout,
    me,
    owner_of,
)
from gausscert_coordinator.rollout.on_node.service import Service
from gausscert_coordinator.rollout.on_node.trouble import Trouble, of_os

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANSWER: Final = "gausscert-answer: "
"""Before the one line that counts: login scripts may print whatever they like."""


def run(request: Mapping[str, Any], stream: BinaryIO) -> None:
    """Carry out one request and print the answer. Never raises what a step may meet."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a step that was begun ends, whatever the line does
    os.umask(0o077)
    try:
        where = layout(request["directory"])
        result = _carried_out(request, where, stream)
        answer: dict[str, Any] = {"ok": True, "result": result}
    except Trouble as trouble:
        answer = {"ok": False, "trouble": trouble.document()}
    except OSError as error:
        answer = {"ok": False, "trouble": of_os(error, request["action"]).document()}
    sys.stdout.write(f"\n{ANSWER}{json.dumps(answer)}\n")
    sys.stdout.flush()


def _carried_out(request: Mapping[str, Any], where: Layout, stream: BinaryIO) -> Any:  # noqa: ANN401 - JSON
    action = ACTIONS[request["action"]]
    if action is _look:
        return _look(request, where, stream)
    if request["directory"]:
        # Whoever owns that place could lead root elsewhere.
        become((_last_account(request, where) if action is _remove else None) or _account(request))
    with files.alone(where.software, make=lambda: software.make_place(where) if action is _upload else None):
        return action(request, where, stream)


def _look(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> dict[str, Any]:
    account = agent_user(request["user"], request["cm_home"])
    return {**look.look(request, where), "others": others.others(where, account, request["cm_home"])}


def _upload(request: Mapping[str, Any], where: Layout, stream: BinaryIO) -> None:
    software.upload(where, request["release"], request["files"], stream)


def _install(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> None:
    software.install(where, request["release"], agent_user(request["user"], request["cm_home"]))


def _credential(request: Mapping[str, Any], where: Layout, stream: BinaryIO) -> None:
    account = _account(request)
    configuration.make_places(where, account)
    become(account)
    configuration.credential(where.pki, request["files"], stream)


def _configure(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> str:
    account = _account(request)
    configuration.make_places(where, account)
    become(account)
    return configuration.configure(where, request["release"], request["config"].encode())


def _service(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> None:
    del where
    Service(request["service"], me()).lay_ready(request["unit"].encode(), request["drop_in"].encode())


def _activate(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> dict[str, bool]:
    """The journal is asked once more, right before an agent that runs is ended; then what lies ready is put
    in its place. The unit comes before agent.toml: should the power fail in between, a new release with the
    former configuration starts at boot rather than a former one with a configuration that it may not know.

    Returns:
        "denied": whether the deny list that was sent is in its place.
    """
    software.require_not_given_up(where, request["attempt"])
    account, service = _account(request), Service(request["service"], me())
    running = processes.agent(where) is not None
    config, units = request["config"], (request["unit"], request["drop_in"])
    if request["unread"]:
        removal.require_idle(_journal(request, where, account), anew=True)
    elif running:
        removal.require_idle(look.journal(where, account))
    with acting_as(account):
        ready.require({where.config: config})
    ready.require(service.wanted(*units))
    denied = _deny(request, where, account)
    service.install(*units)
    with acting_as(account):
        ready.put(where.config, config)
    software.switch(where, request["release"])
    ran_before = running or service.enabled()
    if any(units):
        service.enable()
    if request["start"]:
        _start(service, first=not ran_before)
    return {"denied": denied}


def _start(service: Service, *, first: bool) -> None:
    """One whose very first start has failed is not left to systemd, which would try it again without an end,
    and at each boot: it might win the port of the one that it came beside."""
    try:
        service.start()
    except Trouble as trouble:
        if not first:
            raise
        try:
            service.stop()
        except Trouble as another:
            cause = f"{trouble.cause}; and its unit could not be disabled again: {another.cause}"
            raise Trouble(cause, another.remedy, trouble.file) from trouble
        raise Trouble(f"{trouble.cause}; its unit is disabled again", trouble.remedy, trouble.file) from None


def _journal(request: Mapping[str, Any], where: Layout, account: Account) -> dict[str, str] | None:
    """As the release reads it that is going to be started, from the configuration that it has found good: the
    look could not have it read, for what was there cannot be run."""
    fresh = ready.beside(where.config)
    with acting_as(account):
        is_ready = bool(request["config"]) and files.digest_of(fresh) == request["config"]
    return look.journal(where, account, request["release"], fresh if is_ready else None)


def _settle(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> None:
    software.give_up(where, request["attempt"])


def _deny(request: Mapping[str, Any], where: Layout, account: Account) -> bool:
    """Only for an agent that is down: one that runs adds to its list by itself, and might just do so. It may
    have been started since it was looked at, over and over where it crashes, which the rest may mend; it is
    told over the wire then."""
    if not request.get("deny_list"):
        return True
    if processes.agent(where) is not None:
        return False
    configuration.make_places(where, account)
    with acting_as(account):
        configuration.deny(where.deny_list, request["former_deny_list"], request["deny_list"].encode())
    return True


def _tidy(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> list[str]:
    """What runs now is kept, too: whoever starts it may have started any of them since the look."""
    running = processes.agent(where)
    return software.tidy(where, [*request["keep"], *([running.release] if running is not None else [])])


def _remove(request: Mapping[str, Any], where: Layout, _: BinaryIO) -> list[str]:
    """What it removes is there also where CM, and perhaps its user, have gone before."""
    service = Service(request["service"], me())
    account = _last_account(request, where)
    try:
        return removal.remove(where, service, account, request["node"], with_state=request["with_state"])
    except PermissionError as error:
        remedy = (
            "it, or its directory, does not belong to the agent's user: remove it by hand, then run it again"
        )
        raise of_os(error, "remove", remedy) from error


def _last_account(request: Mapping[str, Any], where: Layout) -> Account | None:
    """Whom an agent ran as, also where CM has gone; None where nobody can tell. Of a directory of its own it
    is who owns that, and never root: its state may be a link that leads to what is root's."""
    account = agent_user(request["user"], request["cm_home"])
    if account is not None or not request["directory"]:
        return account or owner_of(where.state)
    owner = owner_of(where.software, follow=False)
    return owner if owner is not None and owner.uid != 0 else None


def _account(request: Mapping[str, Any]) -> Account:
    account = agent_user(request["user"], request["cm_home"])
    if account is None:
        raise Trouble("the agent's OS user is gone", "look at the node, then run it again")
    return account


ACTIONS: Final[dict[str, Callable[[Mapping[str, Any], Layout, BinaryIO], Any]]] = {
    "look": _look,
    "upload": _upload,
    "install": _install,
    "credential": _credential,
    "configure": _configure,
    "service": _service,
    "activate": _activate,
    "settle": _settle,
    "tidy": _tidy,
    "remove": _remove,
}
