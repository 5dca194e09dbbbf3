"""Where and when: plans under capacity and deadlines, with a proof of how good they are."""
