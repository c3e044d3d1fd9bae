"""Feature stacks that serve as loss and as metric: LPIPS, pyramids, Wasserstein distortion, grid artefacts."""
