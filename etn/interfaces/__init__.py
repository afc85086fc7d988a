"""Use in other programs: thin adapters that nothing else in the package depends on."""
