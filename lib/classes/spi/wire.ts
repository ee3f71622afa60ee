// SPDX-License-Identifier: Apache-2.0
/**
 * Sizes of the SPI controller device (virtio 1.4 draft, "SPI Controller Device").
 *
 * @module
 */

/**
 * struct virtio_spi_config: u8 cs_max_number, cs_change_supported, tx_nbits_supported, rx_nbits_supported; u32
 * bits_per_word_mask, mode_func_supported, max_freq_hz, max_word_delay_ns, max_cs_setup_ns, max_cs_hold_ns,
 * max_cs_inactive_ns.
 */
export const SPI_CONFIG_SIZE = 32;
