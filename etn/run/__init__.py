"""One fit from files to a run folder: settings, sizes, plan, folder."""
