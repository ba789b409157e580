"""The load: scenarios, Locust and ab, the recording of a run, and the verdict on it."""
