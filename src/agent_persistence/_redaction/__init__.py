"""What `redaction` is made of: folded text, detectors, known values, labels and the actions on a value. No I/O."""
