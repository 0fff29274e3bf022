"""An installation of Refundry on a site: its accounts, its schema, what its processes are told."""

from typing import Final

from bench.site import Site
from worker.ledger.migrate import upgrade

#: The one account.
ACCOUNT: Final = "shop"
#: Waits between questions are a fast provider's; every guarantee stays on.
FAST: Final = "time_scale = 0.01\nprovider_delay_s = 10\npoll_schedule_s = [10]\n"
#: The next refund of an order goes once the one before is accepted.
ACCEPTED: Final = FAST + 'serialisation = "until_accepted"\n'
#: Nothing is asked about while a bench runs.
NEVER_ASKED: Final = "poll_schedule_s = [86400]\n"


def install(site: Site, settings: str = "") -> dict[str, str]:
    """Bring the schema up to date; the environment that processes are started with.

    ``settings`` are lines of the account.
    """
    accounts = site.folder / "accounts.toml"
    accounts.write_text(
        f'[accounts.{ACCOUNT}]\nprovider = "quickpay"\nbase_url = "{site.provider_url}"\n'
        f'store_no = "S1"\noperator = "ops"\n{settings}'
    )
    upgrade(site.database_url)
    return {
        "REFUNDRY_HOME": str(site.folder / "home"),
        "REFUNDRY_ACCOUNTS": str(accounts),
        "REFUNDRY_BROKER_URL": site.redis_url,
        "REFUNDRY_DATABASE_URL": site.database_url,
    }
