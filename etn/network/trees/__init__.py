"""Trees: networks on any binary coupling tree."""
