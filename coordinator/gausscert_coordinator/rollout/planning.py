"""From an inventory, a bundle and a look to what is wanted on a node, and so to what has to be done. Pure but
for reading the operator's credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from gausscert_common import credentials
from gausscert_common.errors import InvalidInput

from gausscert_coordinator.rollout import agent_toml, at_once, credential, units
from gausscert_coordinator.rollout.decide import NodePlan, Wanted, choose, decide
from gausscert_coordinator.rollout.facts import Facts, Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gausscert_common.denylist import Denied

    from gausscert_coordinator.inventory import Inventory, InventoryNode
    from gausscert_coordinator.rollout.bundle import Software


def own_credential(inventory: Inventory, now: datetime) -> credential.Own:
    """That of the operator, without whom no agent can be asked whether it is healthy.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """
    held = credentials.load_person(inventory.credentials, cluster=inventory.cluster, now=now)
    trusted = x509.load_pem_x509_certificates(held.ca_pem)
    return credential.Own(x509.load_pem_x509_certificate(held.cert_pem), tuple(trusted))


def plans(
    inventory: Inventory,
    nodes: Iterable[InventoryNode],
    facts: Mapping[str, Facts],
    software: Software,
    settings: Mapping[str, Mapping[str, Any]],
    service: Service,
    own: credential.Own,
    now: datetime,
    revoked: Sequence[Denied] = (),
) -> list[NodePlan]:
    """What has to be done on every node that was looked at.

    Raises:
        InvalidInput: CONFIG_INVALID, with all that is wrong with the settings of any of them.
    """
    made, wrong = list[NodePlan](), list[InvalidInput]()
    for node in (node for node in nodes if node.name in facts):
        try:
            seen, said = facts[node.name], settings[node.name]
            made.append(plan(inventory, node, seen, software, said, service, own, now, revoked))
        except InvalidInput as error:
            wrong.append(at_once.of_node(node.name, error))
    if wrong:
        raise at_once.joined(wrong)
    return made


def plan(
    inventory: Inventory,
    node: InventoryNode,
    facts: Facts,
    software: Software,
    settings: Mapping[str, Any],
    service: Service,
    own: credential.Own,
    now: datetime,
    revoked: Sequence[Denied] = (),
) -> NodePlan:
    """What has to be done on a node.

    Raises:
        InvalidInput: CONFIG_INVALID.
    """
    chosen = choose(facts, service) or Service.NONE
    _, missing = software.chosen(facts.target)
    host, _, port = node.address.rpartition(":")
    listen = node.install.listen or (f"[::]:{port}" if host.startswith("[") else f"0.0.0.0:{port}")
    config = agent_toml.render(
        settings, name=node.name, cluster=inventory.cluster, listen=listen, etc=facts.etc, state=facts.state
    )
    paths = agent_toml.write_paths(settings)
    wanted = Wanted(
        node=node.name,
        cluster=inventory.cluster,
        release=software.release,
        service=service,
        config=config,
        units=units.units(software.units, chosen, facts, software.release, paths),
        credential_good=credential.is_good(facts.held, own, inventory.cluster, node.name, now),
        missing=missing,
        user=node.install.user,
        directory=node.install.directory,
        revoked=tuple(revoked),
    )
    return decide(facts, wanted)
