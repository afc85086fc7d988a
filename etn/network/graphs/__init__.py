"""Networks of cores on any graph, written as a formula."""
