"""Tests for the rules of `persistence.api`, shipped for authors of plugins.

    pytest --persistence-plugin=NAME [--persistence-options='{"url": ...}']

runs them on the plugin of that name. Some rules need more than the plugin (corrupt records, secrets in the raw contents, a killed server).
To test them, define your own fixture `persistence_harness`; see `contract.harness`.
"""
