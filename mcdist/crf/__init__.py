"""The fully connected conditional random field of segments: one home that proposals and evaluation share."""
