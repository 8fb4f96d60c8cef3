"""What an organization has left to spend."""

from __future__ import annotations

from typing import Any

from tintype_server.edgefirst.methods import Rpc, method


@method("accounting.get_usage_summary")
async def usage_summary(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """The credits that are left; of money nothing is known here."""
    credits = (await rpc.call("get_credit_balance")).value["credits_remaining"]
    return {"credits": float(credits), "funds": 0.0, "total_funds_and_credits": float(credits)}
