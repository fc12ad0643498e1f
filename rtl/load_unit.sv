// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Words from the host into the scratchpad: those of `write` frames, which name their address, and those of `stream` frames,
// which feed `load` commands in their order. One word waits for its bank while the parser assembles the next.
module load_unit
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  localparam int unsigned WORD   = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic            command_valid_i,
  input  logic [1023:0]   command_i,
  input  logic [31:0]     window_low_i  [4],
  input  logic [31:0]     window_high_i [4],
  output logic            command_ready_o,
  output logic            retire_o,
  output logic            busy_o,
  output logic            stalled_o,
  output logic            link_o,
  output logic            error_o,
  output logic [7:0]      error_code_o,
  output logic [31:0]     error_detail_o,

  input  logic            word_valid_i,
  input  logic            word_stream_i,
  input  logic [31:0]     word_address_i,
  input  logic [WORD-1:0] word_data_i,
  output logic            word_ready_o,
  output logic            writing_o,

  output logic            write_valid_o,
  output logic [31:0]     write_address_o,
  output logic [WORD-1:0] write_data_o,
  input  logic            write_grant_i
);
  logic        active_q;          // a command wants words
  logic [31:0] address_q, left_q;
  logic        command_word_q;    // the waiting word belongs to a command
  logic        last_q;            // and is its last

  transfer_command_t command;
  logic [31:0]       end_address;
  logic              outside, taken;
  assign command         = transfer_command_t'(command_i);
  assign end_address     = command.address + command.words;
  assign outside         = command.address < window_low_i[0] || end_address > window_high_i[0];
  assign command_ready_o = !active_q && !error_o;
  assign word_ready_o    = !halt_i && (!write_valid_o || write_grant_i) && (active_q || !word_stream_i);
  assign taken           = word_valid_i && word_ready_o;
  assign writing_o       = write_valid_o;
  assign busy_o          = active_q || (write_valid_o && command_word_q);
  assign stalled_o       = write_valid_o && !write_grant_i;
  assign link_o          = !write_valid_o; // a word written is work, all else is waiting for one
  assign error_code_o    = ERROR_REGION;

  always_ff @(posedge clk_i) begin
    retire_o <= write_valid_o && write_grant_i && last_q;
    if (taken) begin
      write_valid_o   <= 1'b1;
      write_address_o <= word_stream_i ? address_q : word_address_i;
      write_data_o    <= word_data_i;
      command_word_q  <= word_stream_i;
      last_q          <= word_stream_i && left_q == 32'd1;
      if (word_stream_i) begin
        address_q <= address_q + 1'b1;
        left_q    <= left_q - 1'b1;
        if (left_q == 32'd1) active_q <= 1'b0;
      end
    end else if (write_grant_i) begin
      write_valid_o <= 1'b0;
    end
    if (command_valid_i && command_ready_o) begin
      if (outside) begin
        error_o        <= 1'b1;
        error_detail_o <= command.address >= window_high_i[0] ? command.address : window_high_i[0];
      end else begin
        active_q  <= 1'b1;
        address_q <= command.address;
        left_q    <= command.words;
      end
    end
    if (!rst_ni) begin
      active_q      <= 1'b0;
      write_valid_o <= 1'b0;
      retire_o      <= 1'b0;
      error_o       <= 1'b0;
    end
  end
endmodule
