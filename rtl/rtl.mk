# Verilated targets; see docs/rtl.md.
rtl:
	@echo "rtl: not here yet"; false
