"""Several hosts on one machine, in namespaces. For the lab tests and the demo; the product never imports it."""
