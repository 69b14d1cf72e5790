import asyncio

from gausscert_coordinator import api


async def main() -> None:
    async with api.connect("gausscert.toml") as cluster:
        for node in await cluster.expiry():
            for certificate in node.report.everything if node.report else ():
                print(f"{certificate.not_after:%Y-%m-%d}", node.node, certificate.file, certificate.subject)


asyncio.run(main())
