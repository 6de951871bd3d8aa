"""The fault matrix: what omsfab must survive, injected on a lab, judged without omsfab."""
