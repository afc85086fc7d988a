"""From atoms to the legs of a network: pairs of neighbours, radial channels, expansion."""
