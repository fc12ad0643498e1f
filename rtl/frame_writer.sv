// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames to the host: a header of two beats, then the words in beats of 8 bytes, the last one padded with zeros. The beat on
// the stream is a register; it changes only when it was taken.
module frame_writer
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS = 16,
  localparam int unsigned WORD   = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic            header_valid_i,
  input  logic [7:0]      header_kind_i,
  input  logic [31:0]     header_tag_i,
  input  logic [31:0]     header_address_i,
  input  logic [31:0]     header_length_i,  // a whole number of words, not 0
  output logic            header_ready_o,
  input  logic            word_valid_i,
  input  logic [WORD-1:0] word_data_i,
  output logic            word_ready_o,

  output logic            stream_valid_o,
  output logic [63:0]     stream_data_o,
  input  logic            stream_ready_i,
  output logic            busy_o
);
  localparam int unsigned COLUMN_BITS = $clog2(COLUMNS);

  typedef enum logic [1:0] {Idle, HeaderHigh, Payload} state_e;
  state_e      state_q;
  logic [31:0] address_q, length_q;
  logic [31:0] words_q;    // still to come from the store unit
  logic        free;       // the stream's register takes a beat at this edge
  logic        word_taken, beat_valid, last;
  logic [63:0] beat;

  assign free           = (!stream_valid_o || stream_ready_i) && !halt_i;
  assign header_ready_o = state_q == Idle && free;
  assign busy_o         = state_q != Idle || stream_valid_o;
  assign word_taken     = word_valid_i && word_ready_o;

  if (COLUMNS == 4) begin : g_words_of_half_a_beat
    logic        low_q; // the beat's lower half is here
    logic [31:0] word_q;
    assign word_ready_o = state_q == Payload && free;
    assign beat_valid   = word_taken && (low_q || words_q == 32'd1);
    assign beat         = low_q ? {word_data_i, word_q} : {32'd0, word_data_i};
    assign last         = words_q == 32'd1;
    always_ff @(posedge clk_i) begin
      if (word_taken) begin
        word_q <= word_data_i;
        low_q  <= !low_q;
      end
      if (header_ready_o) low_q <= 1'b0;
    end
  end else begin : g_beats
    logic [3:0]      beats_q; // of word_q that have not left
    logic [WORD-1:0] word_q;
    assign word_ready_o = state_q == Payload && words_q != '0 && (beats_q == '0 || (beats_q == 4'd1 && free)) &&
                          !halt_i;
    assign beat_valid   = beats_q != '0;
    assign beat         = word_q[63:0];
    assign last         = beats_q == 4'd1 && words_q == '0;
    always_ff @(posedge clk_i) begin
      if (word_taken) begin
        word_q  <= word_data_i;
        beats_q <= 4'(COLUMNS / 8);
      end else if (free && beats_q != '0) begin
        word_q  <= word_q >> 64;
        beats_q <= beats_q - 1'b1;
      end
      if (!rst_ni) beats_q <= '0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (word_taken) words_q <= words_q - 1'b1;
    if (stream_ready_i) stream_valid_o <= 1'b0; // also when halted: what was sent before an error still leaves
    if (free) begin
      case (state_q)
        Idle: if (header_valid_i) begin
          stream_valid_o <= 1'b1;
          stream_data_o  <= {header_tag_i, 8'd0, header_kind_i, FRAME_MAGIC};
          address_q      <= header_address_i;
          length_q       <= header_length_i;
          words_q        <= header_length_i >> COLUMN_BITS;
          state_q        <= HeaderHigh;
        end
        HeaderHigh: begin
          stream_valid_o <= 1'b1;
          stream_data_o  <= {length_q, address_q};
          state_q        <= Payload;
        end
        default: if (beat_valid) begin
          stream_valid_o <= 1'b1;
          stream_data_o  <= beat;
          if (last) state_q <= Idle;
        end
      endcase
    end
    if (!rst_ni) begin
      state_q        <= Idle;
      stream_valid_o <= 1'b0;
    end
  end
endmodule
