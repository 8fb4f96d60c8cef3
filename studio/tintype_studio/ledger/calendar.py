"""Months of the credit allowance."""

from __future__ import annotations

import calendar
from datetime import datetime


def next_month(moment: datetime) -> datetime:
    """The same time of the same day one month later; the month's last day where it is shorter."""
    year, month = divmod(moment.year * 12 + moment.month, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)
