"""The far end of a connection: takes runs in, starts them, tells how they go, hands their results out."""
