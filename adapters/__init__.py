# SPDX-License-Identifier: Apache-2.0
"""Subjects around kernels of published packages, which are found where they are installed. docs/adapters.md
tells how to use them; nothing of a package is in this folder."""
