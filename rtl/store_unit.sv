// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Words from the scratchpad to the host, one frame at a time: `store` commands and `read` frames take turns. Two words are
// read ahead of the writer. A command retires when its last word has left the memory and its frame is in the writer.
module store_unit
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  localparam int unsigned WORD   = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic [31:0]     token_i,          // of the run
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

  input  logic            read_frame_valid_i,
  input  logic [31:0]     read_frame_tag_i,
  input  logic [31:0]     read_frame_address_i,
  input  logic [31:0]     read_frame_words_i,
  output logic            read_frame_ready_o, // no read frame is inside

  output logic            header_valid_o,
  output logic [7:0]      header_kind_o,
  output logic [31:0]     header_tag_o,
  output logic [31:0]     header_address_o,
  output logic [31:0]     header_length_o,
  input  logic            header_ready_i,
  output logic            word_valid_o,
  output logic [WORD-1:0] word_data_o,
  input  logic            word_ready_i,

  output logic            read_valid_o,
  output logic [31:0]     read_address_o,
  input  logic            read_grant_i,
  input  logic [WORD-1:0] read_data_i
);
  localparam int unsigned COLUMN_BITS = $clog2(COLUMNS);

  logic            waiting_q;              // a read frame, for its turn
  logic [31:0]     frame_tag_q, frame_address_q, frame_words_q;
  logic            job_q, job_command_q, turn_q; // turn_q: the read frame's
  logic [31:0]     address_q, request_left_q, send_left_q;
  logic            arriving_q;
  logic [1:0]      count_q;
  logic [WORD-1:0] second_q;               // behind word_data_o

  transfer_command_t command;
  logic [31:0]       end_address;
  logic              outside, taken, popped, ended;
  assign command         = transfer_command_t'(command_i);
  assign end_address     = command.address + command.words;
  assign outside         = command.address < window_low_i[0] || end_address > window_high_i[0];
  assign command_ready_o = !job_q && !error_o && !(waiting_q && turn_q) && !halt_i;
  assign taken           = command_valid_i && command_ready_o;
  assign read_frame_ready_o = !waiting_q && !(job_q && !job_command_q);
  assign read_valid_o    = job_q && request_left_q != '0 && (count_q + 2'(arriving_q)) < 2'd2;
  assign read_address_o  = address_q;
  assign word_valid_o    = count_q != '0;
  assign popped          = word_valid_o && word_ready_i && !halt_i;
  assign ended           = popped && send_left_q == 32'd1;
  assign busy_o          = job_q && job_command_q;
  assign stalled_o       = read_valid_o && !read_grant_i && count_q == '0;
  assign link_o          = job_q && (!job_command_q || header_valid_o || (count_q == 2'd2 && !word_ready_i));
  assign error_code_o    = ERROR_REGION;

  always_ff @(posedge clk_i) begin
    retire_o   <= ended && job_command_q;
    arriving_q <= read_valid_o && read_grant_i;
    if (read_frame_valid_i && read_frame_ready_o) begin
      waiting_q       <= 1'b1;
      frame_tag_q     <= read_frame_tag_i;
      frame_address_q <= read_frame_address_i;
      frame_words_q   <= read_frame_words_i;
    end
    if (header_valid_o && header_ready_i) header_valid_o <= 1'b0;
    if (read_valid_o && read_grant_i) begin
      address_q      <= address_q + 1'b1;
      request_left_q <= request_left_q - 1'b1;
    end
    if (arriving_q) begin
      if (count_q == '0 || (count_q == 2'd1 && popped)) word_data_o <= read_data_i;
      else second_q <= read_data_i;
    end
    if (popped && count_q == 2'd2) word_data_o <= second_q;
    count_q <= count_q + 2'(arriving_q) - 2'(popped);
    if (popped) send_left_q <= send_left_q - 1'b1;
    if (ended) job_q <= 1'b0;

    if (taken && outside) begin
      error_o        <= 1'b1;
      error_detail_o <= command.address >= window_high_i[0] ? command.address : window_high_i[0];
    end else if (taken) begin
      job_q            <= 1'b1;
      job_command_q    <= 1'b1;
      turn_q           <= 1'b1;
      address_q        <= command.address;
      request_left_q   <= command.words;
      send_left_q      <= command.words;
      header_valid_o   <= 1'b1;
      header_kind_o    <= FRAME_STORE;
      header_tag_o     <= token_i;
      header_address_o <= command.host_address;
      header_length_o  <= command.words << COLUMN_BITS;
    end else if (!job_q && waiting_q && !halt_i) begin
      waiting_q        <= 1'b0;
      job_q            <= 1'b1;
      job_command_q    <= 1'b0;
      turn_q           <= 1'b0;
      address_q        <= frame_address_q;
      request_left_q   <= frame_words_q;
      send_left_q      <= frame_words_q;
      header_valid_o   <= 1'b1;
      header_kind_o    <= FRAME_DATA;
      header_tag_o     <= frame_tag_q;
      header_address_o <= frame_address_q;
      header_length_o  <= frame_words_q << COLUMN_BITS;
    end
    if (!rst_ni) begin
      waiting_q      <= 1'b0;
      job_q          <= 1'b0;
      job_command_q  <= 1'b0;
      turn_q         <= 1'b0;
      arriving_q     <= 1'b0;
      count_q        <= '0;
      header_valid_o <= 1'b0;
      retire_o       <= 1'b0;
      error_o        <= 1'b0;
    end
  end
endmodule
