/* SPDX-License-Identifier: Apache-2.0 */
#define LAYOUT_BYTES 4096
