"""Our tools in the agent SDKs of Anthropic and OpenAI.

``create_toolkit(base_url=…, api_key=…)`` opens a server, ``tintype_server.create_toolkit()`` a workspace in
this process. Both give a ``Toolkit``, and each ``for_…`` shows its tools to one SDK. See docs/agents.md.
"""

from __future__ import annotations

from tintype_tools.adapters.anthropic_messages import AnthropicTools, for_anthropic_messages
from tintype_tools.adapters.claude_agent_sdk import ClaudeAgentTools, for_claude_agent_sdk
from tintype_tools.adapters.openai_agents import for_openai_agents
from tintype_tools.adapters.openai_responses import OpenAITools, for_openai_responses
from tintype_tools.adapters.remote import create_toolkit

__all__ = [
    "AnthropicTools",
    "ClaudeAgentTools",
    "OpenAITools",
    "create_toolkit",
    "for_anthropic_messages",
    "for_claude_agent_sdk",
    "for_openai_agents",
    "for_openai_responses",
]
