"""The world as a test or a trial run needs it: scripted sinks, load generators, fakes."""
