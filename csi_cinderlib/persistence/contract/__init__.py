"""The rules of `persistence.api` as tests that come with the package, for every store and for every author of a plugin.

    pytest --persistence-plugin=NAME [--persistence-options='{"url": ...}']

runs them on the plugin of that name. To test more than the rules that need nothing but the plugin (corrupt records, secrets in the raw
contents, a server that is killed), give a fixture `persistence_harness` of your own: see `contract.harness`.
"""
