"""The operator's machine dies in the middle of a renewal over the wire: the register says what was seen in
use and what was only signed, and renewing once more puts it right."""

from __future__ import annotations

import asyncio

import pytest
from gausscert_common.errors import InvalidInput, Reason, Unreachable
from gausscert_common.identity import Role
from gausscert_coordinator import agents, pki_register
from gausscert_coordinator.cli.tables_pki import Listing
from gausscert_coordinator.control_plane import ControlPlane, Held
from gausscert_coordinator.diagnosis import Dialled, served_fingerprint
from gausscert_coordinator.pki_requests import Signer
from support.edge_calls import edge, operator
from support.edges import CLUSTER, NODE, no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator"]


class Died(BaseException):
    """The process is no more."""


class Client:
    """The real one, which does not outlive a moment."""

    def __init__(self, real, moment):
        self.name, self._real, self._moment = real.name, real, moment

    async def begin_renewal(self, request_id):
        asked = await self._real.begin_renewal(request_id)
        if self._moment == "begun":
            raise Died
        return asked

    async def finish_renewal(self, request_id, certificate):
        if self._moment == "signed":
            raise Died
        now = await self._real.finish_renewal(request_id, certificate)
        if self._moment == "finished":
            raise Died
        if self._moment == "answer lost":
            raise Unreachable(Reason.UNREACHABLE, "no answer", node=self.name)
        return now

    async def close(self):
        await self._real.close()


class Dying(Signer):
    """Does not come to note what was proven."""

    def confirm(self, signed, node):
        raise Died


def control(edge, operator, moment=""):
    return ControlPlane(
        edge.inventory(operator),
        connect=lambda inventory: {
            name: Client(real, moment) for name, real in agents.connect(inventory).items()
        },
    )


def renew(edge, operator, moment="", kind=Signer):
    async def once():
        async with control(edge, operator, moment) as opened:
            signer = kind(edge.ca, None, edge.issued.ca.read_bytes())
            return (await opened.renew((NODE,), signer))[0]

    return asyncio.run(once())


def held(edge) -> Held:
    """What the agent has; its node is a fake, which tells nothing of that."""
    return Held(NODE, edge.server.control.source.certificates(), None)


def states(edge, *agents_held) -> list[str]:
    """Of the node's certificates, the newest first."""
    entries = [each for each in pki_register.entries(edge.ca) if each.role is Role.NODE]
    listing = Listing(entries, agents_held)
    return [listing.state(each) for each in listing._entries]


def own(edge, operator) -> str:
    return served_fingerprint(Dialled(CLUSTER, NODE, edge.address, operator))


MOMENTS = {
    "begun": ([], []),
    "signed": (["unconfirmed"], ["unconfirmed"]),
    "finished": (["unconfirmed"], ["ok"]),
    "proven": (["unconfirmed"], ["ok"]),
}
"""What the list says of what was signed: by the register alone, and beside what the agent has."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_moment_it_dies_in_the_list_says_what_is_known(edge, operator, moment):
    before = own(edge, operator)
    kind = Dying if moment == "proven" else Signer

    with pytest.raises(Died):
        renew(edge, operator, moment, kind)

    alone, beside = MOMENTS[moment]
    former = "superseded" if beside == ["ok"] else "ok"
    assert states(edge) == [*alone, "ok"]
    assert states(edge, held(edge)) == [*beside, former]
    assert (own(edge, operator) == before) is (former == "ok")


@pytest.mark.parametrize("moment", MOMENTS)
def test_renewing_once_more_puts_it_right(edge, operator, moment):
    with pytest.raises(Died):
        renew(edge, operator, moment, Dying if moment == "proven" else Signer)
    taken = own(edge, operator)

    again = renew(edge, operator)

    assert again.error is None
    entries = [each for each in pki_register.entries(edge.ca) if each.role is Role.NODE]
    assert entries[0].fingerprint == own(edge, operator) == again.credential.fingerprint
    assert states(edge) == ["ok"] + ["superseded"] * (len(entries) - 1)
    in_use = {each.fingerprint for each in entries if not each.pending}
    assert in_use == {edge.issued.fingerprint, taken, again.credential.fingerprint}


def test_an_answer_that_is_lost_is_told_and_leaves_the_truth_open(edge, operator):
    lost = renew(edge, operator, "answer lost")

    assert lost.error.reason is Reason.UNREACHABLE
    assert states(edge) == ["unconfirmed", "ok"]
    assert states(edge, held(edge)) == ["ok", "superseded"]
    assert renew(edge, operator).error is None
    assert states(edge) == ["ok", "superseded", "superseded"]


def test_a_register_that_cannot_be_written_afterwards_is_told_with_what_is_true(edge, operator):
    class Full(Signer):
        def sign(self, *args, **keywords):
            signed = super().sign(*args, **keywords)
            for path in edge.ca.glob("pending-*"):  # somebody makes it impossible to give the file its name
                path.with_name(path.name.replace("pending", "issued")).mkdir()
            return signed

    found = renew(edge, operator, kind=Full)

    assert isinstance(found.error, InvalidInput)
    assert found.error.node == NODE
    assert "serves with its new credential" in found.error.message
    assert found.error.file.startswith(str(edge.ca))
    assert found.error.remedy
    assert states(edge, held(edge)) == ["ok", "superseded"]
