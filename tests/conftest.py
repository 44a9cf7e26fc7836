"""Settings that all tests share."""

import hypothesis
import jax

jax.config.update("jax_num_cpu_devices", 2)  # so that everything is tested on a mesh that divides the batch

hypothesis.settings.register_profile("jaxdae", deadline=None, derandomize=True, max_examples=15)
hypothesis.settings.load_profile("jaxdae")
