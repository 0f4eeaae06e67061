# SPDX-License-Identifier: Apache-2.0
"""The end-to-end cases of all files, for the runner and for the table of faults."""
import access_cases, boot_cases, burial_cases, cases, command_cases, fault_cases, input_cases, runtime_cases, service_cases, settle_cases, tls_cases, wire_cases

CASES = [case for module in (cases, fault_cases, input_cases, command_cases, runtime_cases, service_cases, settle_cases, burial_cases, access_cases, boot_cases, wire_cases, tls_cases)
         for case in module.CASES]
