"""Replaces the certificates of a cluster: replace.py BUNDLE SERVER_PASSWORD_FILE CLIENT_PASSWORD_FILE"""

import asyncio
import sys
from pathlib import Path

from gausscert_coordinator import Progress, api, exit_code


def tell(progress: Progress) -> None:
    print(f"{progress.at_s:.1f} s", progress.stage.value, progress.mark.value, progress.node, progress.detail)


def password(file: str) -> str:
    return Path(file).read_text().rstrip("\n")


async def main(directory: str, server: str, client: str) -> int:
    bundle = api.read_bundle(directory, server_password=password(server), client_password=password(client))
    async with api.connect("gausscert.toml") as cluster:
        plan = await cluster.plan(bundle)
        for finding in plan.findings:
            print(finding.severity.value, finding.code, finding.node, finding.cause)
        result = await cluster.replace(plan, bundle, watch=tell)
    print(result.verdict.value, *(str(failure) for failure in result.failures))
    return exit_code(result)


sys.exit(asyncio.run(main(*sys.argv[1:])))
