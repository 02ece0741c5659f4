"""`octavia serve`: everything up until Ctrl-C."""

import asyncio
import signal

from rich.console import Console

from octavia_stream.config import Settings
from octavia_stream.launcher.stack import Stack


def serve_command(settings: Settings) -> int:
    """Bring the stack up and keep it up until interrupted. Raises what keeps it from starting."""
    return asyncio.run(_serve(settings, Console()))


async def _serve(settings: Settings, console: Console) -> int:
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked_to_stop.set)
    stack = Stack(settings, console)
    stopping = asyncio.create_task(asked_to_stop.wait())
    starting = asyncio.create_task(stack.start())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            console.print(f"octavia-stream is ready: [bold]{await starting}[/]  (Ctrl-C stops it)", highlight=False)
            await stopping
    finally:
        stopping.cancel()
        starting.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await stack.stop()
    return 0
