"""The unit tests of the compiled core once more, on a build with sanitizers."""
