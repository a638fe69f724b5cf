"""Scrapy over a list of URLs, robots.txt obeyed and bodies saved; run by `.venv-bench`.

python peer_scrapy.py URLS OUTPUT CONCURRENCY decoded|raw

Every name leads to 127.0.0.1. What costs and is not asked for is off: telnet console, cookies,
referrers, statistics of memory, logging below errors. `raw` saves bodies as they were sent.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from scrapy.resolver import CachingThreadedResolver
from twisted.internet import defer


class Loopback(CachingThreadedResolver):
    """Resolves every name to 127.0.0.1."""

    def getHostByName(self, _name: str, _timeout: Any = ()) -> Any:  # noqa: N802 - Twisted's name
        """Returns the one address."""
        return defer.succeed("127.0.0.1")


class Pages(scrapy.Spider):
    """Asks for each URL once and appends its body to one file, its URL and length to another."""

    name = "pages"

    async def start(self) -> AsyncIterator[scrapy.Request]:
        """Yields a request for each URL."""
        self._bodies = Path(self.output, "bodies").open("wb")  # noqa: SIM115 - `closed` does
        self._index = Path(self.output, "index").open("w")  # noqa: SIM115
        for url in Path(self.urls).read_text().split():
            yield scrapy.Request(url, dont_filter=True)

    def parse(self, response: Response) -> None:
        """Saves a page."""
        self._bodies.write(response.body)
        self._index.write(f"{response.url} {len(response.body)}\n")

    def closed(self, _reason: str) -> None:
        """Closes the files."""
        self._bodies.close()
        self._index.close()


def main() -> None:
    """Crawls the list."""
    urls, output, concurrency, form = sys.argv[1:]
    process = CrawlerProcess(
        {
            "USER_AGENT": "bench (+mailto:bench@example.org)",
            "ROBOTSTXT_OBEY": True,
            "CONCURRENT_REQUESTS": int(concurrency),
            "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
            "DOWNLOAD_DELAY": 0,
            "COMPRESSION_ENABLED": form == "decoded",
            "DNS_RESOLVER": Loopback,
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
            "COOKIES_ENABLED": False,
            "REFERER_ENABLED": False,
            "MEMUSAGE_ENABLED": False,
        }
    )
    process.crawl(Pages, urls=urls, output=output)
    process.start()


if __name__ == "__main__":
    main()
