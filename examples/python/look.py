import asyncio

from gausscert_coordinator import api


async def main() -> None:
    async with api.connect("gausscert.toml") as cluster:
        for node in (await cluster.status()).nodes:
            print(node.node, node.error or ("drift" if node.drift else "ok"))


asyncio.run(main())
