"""The report: one module a section; a section's words are in workflow/report/sections."""
