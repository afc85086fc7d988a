"""Neural potentials: networks of equivariant messages, trained by gradients."""
