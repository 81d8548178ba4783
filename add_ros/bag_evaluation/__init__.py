"""Score a detector on a bag, compare two, and show it on a page: what `add_ros.evaluate_bag` is made of."""
