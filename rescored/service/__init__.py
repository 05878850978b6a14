"""Many people, many machines: jobs that outlive the page."""
