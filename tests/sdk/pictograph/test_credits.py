"""Credits, asked by the published SDK."""

from __future__ import annotations

import pytest
from support.sdk import Sdk


def test_the_balance_has_the_last_entries(sdk: Sdk) -> None:
    balance = sdk.run("return client.credits.balance()")
    assert balance["credits_monthly_allowance"] == 1000
    assert 0 <= balance["credits_remaining"] <= 1000
    assert balance["credits_reset_at"]
    first = balance["recent_history"][-1]
    assert (first["operation"], first["amount"]) == ("monthly_allowance", 1000)


def test_the_history_is_paged_from_the_newest_on(sdk: Sdk) -> None:
    pages = sdk.run(
        """
        return {
            "one": client.credits.history(limit=1),
            "past": client.credits.history(offset=1000),
            "iter": client.credits.iter(page_size=1),
        }
        """
    )
    assert len(pages["one"]) == 1
    assert pages["past"] == []
    assert pages["iter"][-1]["operation"] == "monthly_allowance"
    assert pages["iter"][0] == pages["one"][0]


@pytest.mark.parametrize("operation", ["training_a10g_per_minute", "training_a10g"])
def test_both_families_of_slugs_have_a_price(sdk: Sdk, operation: str) -> None:
    estimate = sdk.run("return client.credits.estimate(operation, quantity=30)", operation=operation)
    assert (estimate["operation"], estimate["total_credits"], estimate["unit"]) == (operation, 300, "minute")


def test_a_minimum_is_charged(sdk: Sdk) -> None:
    estimate = sdk.run("return client.credits.estimate('sam3_per_minute')")
    assert (estimate["credits_per_unit"], estimate["minimum"], estimate["total_credits"]) == (1, 3, 3)


def test_an_unknown_operation_is_invalid(sdk: Sdk) -> None:
    error = sdk.fails("client.credits.estimate('nothing')")
    assert (error["type"], error["status_code"]) == ("ValidationError", 422)
    assert "price list" in error["message"]


def test_a_page_over_the_cap_is_refused_and_not_cut(sdk: Sdk) -> None:
    error = sdk.fails("client.credits.history(limit=101)")
    assert [e["loc"] for e in error["field_errors"]] == [["query", "limit"]]
