import asyncio

from gausscert_coordinator import api


async def main() -> None:
    async with api.connect("gausscert.toml") as cluster:
        for node in await cluster.expiry():
            held = node.report.everything + node.report.control_plane if node.report else ()
            for certificate in held:
                print(f"{certificate.not_after:%Y-%m-%d}", node.node, certificate.file, certificate.subject)


asyncio.run(main())
