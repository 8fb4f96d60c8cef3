"""Datasets of other platforms, over their HTTP APIs.

    protocol         what a connector is, and the datasets it tells of
    v7, roboflow     one connector each
    web              requests: limits, retries, redirects; the key goes to the provider's own origin alone
    addresses        which addresses a provider may send us to
    service          validates keys, compares with limits, starts imports
    progress         an import as it stands

A provider's key is held in memory by the process that uses it, and goes into nothing that is kept.
"""
