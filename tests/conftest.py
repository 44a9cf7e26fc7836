"""Settings that all tests share."""

import hypothesis

hypothesis.settings.register_profile("jaxdae", deadline=None, derandomize=True, max_examples=15)
hypothesis.settings.load_profile("jaxdae")
