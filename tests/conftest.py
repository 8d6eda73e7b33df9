"""What all tests share. No test depends on how fast the machine is just now, or touches the keyring of who runs it."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("meshtui", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("meshtui")

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
