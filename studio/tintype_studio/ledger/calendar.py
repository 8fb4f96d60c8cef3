"""Days and months of money, in UTC."""

from __future__ import annotations

import calendar
from datetime import datetime


def midnight(moment: datetime) -> datetime:
    """When the day began that ``moment`` (aware, UTC) lies in."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def next_month(moment: datetime) -> datetime:
    """The same time of the same day one month later; the month's last day where it is shorter."""
    year, month = divmod(moment.year * 12 + moment.month, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)
